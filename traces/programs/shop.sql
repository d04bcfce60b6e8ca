-- A shop: orders that a query sorts into bands of amount, and the customers who made them.
-- The orders fill 1.3 MB, so that scanning them once for each band is too much for a cache of 1 MiB and not for 2 MiB.
PRAGMA page_size = 4096;
CREATE TABLE customers (id INTEGER PRIMARY KEY, region INTEGER, name TEXT);
CREATE TABLE orders (id INTEGER PRIMARY KEY, item TEXT, customer INTEGER, amount INTEGER, note TEXT);
CREATE TABLE bands (low INTEGER PRIMARY KEY, high INTEGER);
INSERT INTO bands VALUES (0, 24), (25, 49), (50, 99), (100, 199), (200, 399), (400, 999);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 4000)
INSERT INTO customers SELECT i, i % 25, 'customer ' || i FROM n;
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 9500)
INSERT INTO orders
SELECT i, printf('%060d', i * 7919), 1 + ((i * 2654435761) >> 7) % 4000, (i * 40503) % 1000, printf('%060d', i * 104729)
FROM n;
