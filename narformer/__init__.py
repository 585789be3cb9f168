"""narformer: how fast will this network run there, and how good will it be?"""

__version__ = "0.1.0"
