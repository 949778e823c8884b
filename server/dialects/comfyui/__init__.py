"""ComfyUI's HTTP and websocket API, with and without ``/api``: graphs → jobs, jobs → history and messages."""

from server.dialects.comfyui.dialect import DIALECT

__all__ = ["DIALECT"]
