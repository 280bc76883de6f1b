"""How the input policy judges a text: normalise it, set quoted code apart, look for shapes, weigh the prose around."""
