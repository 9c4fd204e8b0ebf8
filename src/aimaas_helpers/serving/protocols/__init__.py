"""Each protocol is a translation between HTTP and the data plane, and nothing else."""
