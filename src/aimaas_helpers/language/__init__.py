"""A real language model, from its published file to text."""
