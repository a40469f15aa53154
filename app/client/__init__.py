"""What asks a HarborGuard for a scan, waits for it, and judges it: the command line of a pipeline."""
