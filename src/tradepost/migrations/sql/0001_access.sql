-- Who may do what: least privilege for the server's role and the reporting role, and row-level security by the actor.

GRANT USAGE ON SCHEMA public TO tradepost_app, tradepost_readonly;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO tradepost_app;
REVOKE INSERT, UPDATE, DELETE ON alembic_version, permissions, roles, role_permissions,
    processes, order_states, order_transitions, store_facts FROM tradepost_app;
REVOKE UPDATE, DELETE ON events, order_events, stock_movements, gateway_events,
    ledger_accounts, ledger_journals, ledger_entries, price_history FROM tradepost_app;

GRANT SELECT ON ALL TABLES IN SCHEMA public TO tradepost_readonly;
REVOKE SELECT ON users, sessions, tokens, outside_logins, idempotency_keys, gateway_events FROM tradepost_readonly;
GRANT SELECT (id, username, email, email_verified_at, first_name, last_name, display_name, avatar_file_id, bio, business_name,
    service_type, location_text, location, locale, timezone, is_active, last_login_at, erased_at, created_at, updated_at)
    ON users TO tradepost_readonly;

-- Each policy asks the actor once a statement (the sub-selects are evaluated first), not once a row.
DO $$
DECLARE
    rule record;
BEGIN
    FOR rule IN SELECT * FROM (VALUES
        ('orders', 'buyer_id = (SELECT app_user_id()) OR session_hash = (SELECT app_session()) OR (SELECT app_user_id()) = ANY (seller_ids)'),
        ('order_lines', 'buyer_id = (SELECT app_user_id()) OR session_hash = (SELECT app_session()) OR seller_id = (SELECT app_user_id())'),
        ('order_events', 'buyer_id = (SELECT app_user_id()) OR session_hash = (SELECT app_session()) OR seller_id = (SELECT app_user_id()) OR (SELECT app_user_id()) = ANY ((SELECT o.seller_ids FROM orders o WHERE o.id = order_id)::uuid[])'),
        ('line_configurations', 'EXISTS (SELECT FROM order_lines l WHERE (l.order_id, l.line_no) = (line_configurations.order_id, line_configurations.line_no))'),
        ('fulfilments', 'buyer_id = (SELECT app_user_id()) OR session_hash = (SELECT app_session()) OR seller_id = (SELECT app_user_id()) OR rider_id = (SELECT app_user_id())'),
        ('payments', 'buyer_id = (SELECT app_user_id()) OR session_hash = (SELECT app_session())'),
        ('refunds', 'EXISTS (SELECT FROM payments p WHERE p.id = payment_id)'),
        ('payouts', 'seller_id = (SELECT app_user_id())'),
        ('carts', 'user_id = (SELECT app_user_id()) OR session_hash = (SELECT app_session())'),
        ('cart_lines', 'EXISTS (SELECT FROM carts c WHERE c.id = cart_id)'),
        ('addresses', 'user_id = (SELECT app_user_id())'),
        ('tokens', 'user_id = (SELECT app_user_id())')
    ) AS r(tbl, test) LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', rule.tbl);
        EXECUTE format('CREATE POLICY actor ON %I FOR ALL TO tradepost_app USING ((SELECT app_sees_all()) OR %s)', rule.tbl, rule.test);
        EXECUTE format('CREATE POLICY reporting ON %I FOR SELECT TO tradepost_readonly USING (true)', rule.tbl);
    END LOOP;
END $$;
