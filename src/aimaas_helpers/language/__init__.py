"""A real language model, from its published file to scores of the next token.

``weights`` reads the file, ``tokenizer`` turns texts into tokens, ``graph`` is the model as TensorFlow functions, and
``packing`` keeps these as LiteRT files, as set-up does once. ``engine`` runs them for many texts at a time.
"""
