"""Is this a concrete surface at all? How foreign a photo is to what a model learned from."""

from inspector.domain.collect import collect_features
from inspector.domain.foreign import foreign_pictures
from inspector.domain.head import DomainHead, fit_domain, pool_for_domain
from inspector.domain.threshold import SHARE, choose_domain_threshold

__all__ = [
    "SHARE",
    "DomainHead",
    "choose_domain_threshold",
    "collect_features",
    "fit_domain",
    "foreign_pictures",
    "pool_for_domain",
]
