"""What can be promised of a router for images like those of ``certify``, and the proof that promises hold."""
