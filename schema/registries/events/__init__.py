"""What registries tell us by themselves: webhooks that come in."""
