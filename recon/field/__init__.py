"""The second reconstructor: a signed distance field with colour, drawn by volume rendering."""
