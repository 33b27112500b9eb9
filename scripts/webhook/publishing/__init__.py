"""Write, audit, publish: what dbt has built and tested beside the published tables takes their place, all of it or none."""

from webhook.publishing.publisher import Publisher

__all__ = ["Publisher"]
