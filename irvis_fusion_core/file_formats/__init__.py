"""Image and video files: which are whole, their pixels and times."""
