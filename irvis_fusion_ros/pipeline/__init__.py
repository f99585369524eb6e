"""The decision and the fusion of one frame, shared by the node and the bag tools."""
