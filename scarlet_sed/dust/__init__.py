"""Dust: attenuation and extinction curves, and what is left of starlight behind them."""
