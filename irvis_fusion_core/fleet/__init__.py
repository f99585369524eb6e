"""Many runs of a command: on this machine or on a Dask cluster, with one combined report."""
