"""Helpers for *AI Models as a Service — a hands-on book*: what is not the lesson, so that the lesson is all you read.

``data`` loads real data sets, ``training`` fits a plain Keras model, ``evaluation`` measures it, ``plotting`` draws,
``serving`` turns it into a service, ``checks`` asserts claims and checks exercises, ``doctor`` examines the machine.
"""

import os

# TensorFlow reads this once, when it is first imported: keep its C++ chatter out of the reader's notebook.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
