"""Virtual Sparks for development: image, machines, cables, switch. `python -m lab --help` says what can be done."""
