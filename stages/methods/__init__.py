"""One file per method: `dsm` is the one subclass of `Method` that methods/dsm.py defines."""
