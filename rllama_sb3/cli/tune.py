def tune() -> None:
    """Search reward and hyperparameters together."""
