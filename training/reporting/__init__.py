"""Reports about runs: sections with tables, images and contexts, rendered as HTML."""
