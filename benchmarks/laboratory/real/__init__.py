"""Real workloads with known truth: run, recorded from the kernel, and noted by the workload itself meanwhile."""
