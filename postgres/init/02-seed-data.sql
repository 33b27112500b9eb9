-- The first contents of the sample shop: 10 customers, 15 products in 5 categories, 100 orders, 300 order items, spread
-- over the year that ends today. Apart from today's date the same rows come out every time: what looks random is
-- taken from md5 of the row's number.

SET timezone = 'UTC';
SELECT current_date AS today \gset

-- A number in (0, 1) that depends on nothing but its arguments.
CREATE FUNCTION pg_temp.draw(what text, number bigint) RETURNS double precision
LANGUAGE sql IMMUTABLE AS $$
    SELECT (('x' || substr(md5(what || number), 1, 8))::bit(32)::bigint + 0.5) / 4294967296.0
$$;

INSERT INTO customers (customer_id, first_name, last_name, email, phone, state, city, created_at)
SELECT
    c.customer_id, c.first_name, c.last_name, c.email, c.phone, c.state, c.city,
    :'today'::date - c.days_ago + interval '9 hours 20 minutes'
FROM (VALUES
    (1, 'Olivia', 'Bennett', 'olivia.bennett@example.com', '+1-415-555-0101', 'CA', 'San Francisco', 612),
    (2, 'Liam', 'Carter', 'liam.carter@example.com', '+1-213-555-0102', 'CA', 'Los Angeles', 548),
    (3, 'Sofia', 'Ramirez', 'sofia.ramirez@example.org', '+1-512-555-0103', 'TX', 'Austin', 501),
    (4, 'Noah', 'Kim', 'noah.kim@example.com', '+1-206-555-0104', 'WA', 'Seattle', 467),
    (5, 'Grace', 'O''Neill', 'grace.oneill@example.net', NULL, 'NY', 'Buffalo', 430),
    (6, 'Ethan', 'Wright', 'ethan.wright@example.com', '+1-212-555-0106', 'NY', 'New York', 388),
    (7, 'Amara', 'Johnson', 'amara.johnson@example.com', '+1-404-555-0107', 'GA', 'Atlanta', 290),
    (8, 'Lucas', 'Nguyen', 'lucas.nguyen@example.org', '+1-713-555-0108', 'TX', 'Houston', 205),
    (9, 'Zoë', 'Fischer', 'zoe.fischer@example.com', '+1-312-555-0109', 'IL', 'Chicago', 118),
    (10, 'Mateo', 'Alvarez', 'mateo.alvarez@example.net', NULL, 'FL', NULL, 41)
) AS c (customer_id, first_name, last_name, email, phone, state, city, days_ago);

INSERT INTO products (product_id, product_name, category, price, cost, created_at)
SELECT p.product_id, p.product_name, p.category, p.price, p.cost, :'today'::date - 640 + p.product_id::integer * 3
FROM (VALUES
    (1, 'Wireless Headphones', 'Electronics', 129.00, 71.50),
    (2, 'Portable Charger', 'Electronics', 39.90, 18.20),
    (3, 'Smart Watch', 'Electronics', 219.00, 137.00),
    (4, 'Cotton T-Shirt', 'Clothing', 19.90, 6.40),
    (5, 'Denim Jacket', 'Clothing', 79.00, 33.80),
    (6, 'Running Shoes', 'Clothing', 109.50, 52.00),
    (7, 'Pour-Over Coffee Set', 'Home', 44.00, 19.75),
    (8, 'Linen Bed Set', 'Home', 149.00, 78.30),
    (9, 'Desk Lamp', 'Home', 34.50, 14.10),
    (10, 'Data Modelling by Example', 'Books', 49.95, 21.00),
    (11, 'The Long Winter Cookbook', 'Books', 29.95, 11.60),
    (12, 'Pocket Atlas', 'Books', 14.95, 5.20),
    (13, 'Yoga Mat', 'Sports', 32.00, 12.90),
    (14, 'Adjustable Dumbbells', 'Sports', 189.00, 121.40),
    (15, 'Trail Backpack', 'Sports', 89.00, 41.25)
) AS p (product_id, product_name, category, price, cost);

-- Every 3.65 days an order, from 365 days ago until today. Today's is just after midnight, so that it is never in the future.
CREATE TEMPORARY TABLE checkout AS
SELECT
    n AS order_id,
    age.days,
    :'today'::date - age.days
    + CASE
        WHEN age.days = 0 THEN interval '7 seconds'
        ELSE make_interval(
            hours => 8 + floor(14 * pg_temp.draw('hour', n))::integer,
            mins => floor(60 * pg_temp.draw('minute', n))::integer,
            secs => floor(60 * pg_temp.draw('second', n))
        )
    END AS order_date,
    n * 7 % 5 + 1 AS items,
    pg_temp.draw('fate', n) AS fate
FROM generate_series(1, 100) AS n
CROSS JOIN LATERAL (SELECT 365 - ((n - 1) * 365) / 99 AS days) AS age;

-- Weighted draws without replacement: the smallest of -ln(draw) / weight win, here with weight 1 / sqrt (Efraimidis and Spirakis, 2006).
CREATE TEMPORARY TABLE basket AS
SELECT
    row_number() OVER (ORDER BY c.order_id, chosen.product_id) AS order_item_id,
    c.order_id,
    chosen.product_id,
    chosen.quantity,
    -- Three weeks before Christmas everything is a tenth off.
    CASE
        WHEN extract(MONTH FROM c.order_date) = 12 AND extract(DAY FROM c.order_date) < 24 THEN round(chosen.price * 0.9, 2)
        ELSE chosen.price
    END AS unit_price
FROM checkout AS c
CROSS JOIN LATERAL (
    SELECT
        p.product_id,
        p.price,
        CASE WHEN p.price > 100 THEN 1 ELSE 1 + floor(3 * pg_temp.draw('quantity', c.order_id * 100 + p.product_id) ^ 2)::integer END
        AS quantity
    FROM products AS p
    ORDER BY -ln(pg_temp.draw('product', c.order_id * 100 + p.product_id)) * sqrt(1 + p.product_id * 7 % 15)
    LIMIT c.items
) AS chosen;

INSERT INTO orders (order_id, customer_id, order_date, status, total_amount)
SELECT
    c.order_id,
    buyer.customer_id,
    c.order_date,
    -- Paid within a day, shipped within four, delivered within ten; goods come back after that.
    CASE
        WHEN c.days > 1 AND c.fate < 0.09 THEN 'cancelled'
        WHEN c.days > 20 AND c.fate > 0.95 THEN 'returned'
        WHEN c.days > 10 THEN 'delivered'
        WHEN c.days > 4 THEN 'shipped'
        WHEN c.days > 1 THEN 'paid'
        ELSE 'pending'
    END,
    bill.total_amount
FROM checkout AS c
CROSS JOIN LATERAL (
    SELECT cu.customer_id
    FROM customers AS cu
    WHERE cu.created_at < c.order_date
    ORDER BY -ln(pg_temp.draw('customer', c.order_id * 100 + cu.customer_id)) * sqrt(cu.customer_id)
    LIMIT 1
) AS buyer
CROSS JOIN LATERAL (
    SELECT sum(b.quantity * b.unit_price) AS total_amount FROM basket AS b WHERE b.order_id = c.order_id
) AS bill
ORDER BY c.order_id;

INSERT INTO order_items (order_item_id, order_id, product_id, quantity, unit_price, subtotal)
SELECT b.order_item_id, b.order_id, b.product_id, b.quantity, b.unit_price, b.quantity * b.unit_price
FROM basket AS b
ORDER BY b.order_item_id;

DROP TABLE basket, checkout;

-- The rows above brought their own numbers; the shop goes on after them.
SELECT
    setval(pg_get_serial_sequence('customers', 'customer_id'), (SELECT max(customer_id) FROM customers)) AS customers,
    setval(pg_get_serial_sequence('products', 'product_id'), (SELECT max(product_id) FROM products)) AS products,
    setval(pg_get_serial_sequence('orders', 'order_id'), (SELECT max(order_id) FROM orders)) AS orders,
    setval(pg_get_serial_sequence('order_items', 'order_item_id'), (SELECT max(order_item_id) FROM order_items)) AS order_items \gset last_

ANALYZE customers, products, orders, order_items;
