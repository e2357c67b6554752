"""The files that ship with every model: flat siblings that need torch and transformers only, never this package."""
