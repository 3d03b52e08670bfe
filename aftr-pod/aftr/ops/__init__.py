"""Commands, worker threads, control thread, status port, replay."""
