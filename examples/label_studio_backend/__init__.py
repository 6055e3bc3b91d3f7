"""An ML backend of Label Studio that marks parts with a partscope model and learns from corrections; see README.md."""
