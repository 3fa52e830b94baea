"""Configuration, FITS files, catalogues, and writing results."""
