"""A server for exported models: TensorFlow Serving's REST interface, uploads of videos, and a page to try them on."""
