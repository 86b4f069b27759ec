"""Textured objects modelled in code: a kit of pieces and patterns, and the evaluation objects made of them."""
