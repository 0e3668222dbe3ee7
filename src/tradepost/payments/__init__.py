"""Money: payments, refunds, payouts and the double-entry ledger; the port to gateways and its adapters.

Promises that every money fact is one balanced journal, that a gateway is asked at most once for the same payment (the
payment's id is the idempotency key) and that a gateway's event is handled once. It knows orders only by id and never
changes their state: flows do.
"""
