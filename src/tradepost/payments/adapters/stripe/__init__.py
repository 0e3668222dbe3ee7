"""Stripe, over its own SDK: Checkout pages for buyers, refunds, signed events, and Connect accounts for sellers.

Promises that a payment has one Checkout Session (the payment's id is its idempotency key and its `client_reference_id`) and a refund,
payout or reversal one object that carries its id, so that each is found again when a reply was lost. Decides nothing about orders.
"""
