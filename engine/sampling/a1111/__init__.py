"""Noise, noise levels, schedules and samplers as AUTOMATIC1111 has them, beside ComfyUI's."""
