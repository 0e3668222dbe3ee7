-- What the system does by itself when a state has lasted too long: what `-- include: timers` of an import.sql stands for. It makes a temporary table
-- timers (process, state, timer, is_whole), of which `-- include: orders` takes an order's next moment, and drops it with its own.
-- is_whole: the move is the order's and not each part's, as orders/processes says. The time begins anew with the import.
CREATE TEMP TABLE timers AS
SELECT DISTINCT ON (process, from_state) process, from_state AS state, timer,
       effects && ARRAY['sell_stock', 'release_stock', 'take_deposit', 'take_balance', 'keep_deposit', 'exchange'] AS is_whole
FROM order_transitions WHERE timer IS NOT NULL ORDER BY process, from_state, timer;
