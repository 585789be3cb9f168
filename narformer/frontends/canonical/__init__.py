"""The canonical form: a Graph as a runtime will run it, whichever exporter wrote it."""

from narformer.frontends.canonical.form import canonical, network_hash

__all__ = ["canonical", "network_hash"]
