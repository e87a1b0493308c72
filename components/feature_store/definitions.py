"""Feast's definitions: the instrument, and a view of what is stored of its bars."""

from feast import Entity, FeatureView, Field, ValueType
from feast.data_source import DataSource
from feast.types import Float64, String, UnixTimestamp

from components.feature_views import CLOSED, KEY, KNOWN, OPENED, valid_for, view_name
from components.features import FEATURES, VERSION

INSTRUMENT = Entity(
    name="instrument",
    join_keys=[KEY],
    value_type=ValueType.STRING,
    description="What is traded, by its symbol.",
)

INSTANTS = {
    OPENED: "when the bar opened; never to be joined on",
    CLOSED: "when the bar closed: the event's timestamp",
    KNOWN: "when the last of what the row is made from became known",
}


def view(interval: str, source: DataSource) -> FeatureView:
    """The stored features of one interval, as the registry of features describes them."""
    return FeatureView(
        name=view_name(interval),
        entities=[INSTRUMENT],
        ttl=valid_for(interval).to_pytimedelta(),
        schema=[
            Field(name=KEY, dtype=String),
            *(Field(name=k, dtype=UnixTimestamp, description=v) for k, v in INSTANTS.items()),
            *(_field(name) for name in FEATURES),
        ],
        source=source,
        description=f"Features of bars of {interval}, version {VERSION} of their arithmetic.",
        tags={"interval": interval, "version": VERSION},
    )


def _field(name: str) -> Field:
    feature = FEATURES[name]
    return Field(
        name=name,
        dtype=Float64,
        description=feature.formula,
        tags={"unit": feature.unit, "kind": feature.kind, "context": str(feature.context)},
    )
