"""Gateways: Stripe, Paynow, cash on delivery, and a sandbox that behaves as badly as a real one can."""
