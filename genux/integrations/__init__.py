"""Joints to other libraries: one module each, which imports the library that it is named after and no other."""
