"""Spatial models that were compared before one of them became partscope's: see ../choose_arrangement.py.

Every model sees the same likelihood ratios and answers with a :class:`~partscope.arrangement.consensus.Consensus`: where the
other parts expect each part. Points, refinement and doubt come from that by the same code for all of them.
"""
