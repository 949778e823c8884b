"""The editor form of ComfyUI graphs: read as the editor does when it queues a graph, and written."""
