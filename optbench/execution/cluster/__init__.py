"""Lane groups on other machines: an executor on top of dask.distributed, which does the distributing."""
