"""What `training.demo` shows: a model as it is served, and the part of the page for its answers."""
