"""Kafka: a producer that loses and repeats nothing, a consumer that is told what is stored."""

from components.broker.access import Access, Topics, make_topics, reached
from components.broker.consumer import Consumer, Place, Record
from components.broker.producer import Producer

__all__ = ["Access", "Consumer", "Place", "Producer", "Record", "Topics", "make_topics", "reached"]
