"""One file per method. A method is found by its name: `dsm` is the one subclass of `Method` in methods/dsm.py."""
