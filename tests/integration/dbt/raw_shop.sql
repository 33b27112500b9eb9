CREATE OR REPLACE TABLE raw.customers (customer_id Int64, first_name String, last_name String, email String, phone Nullable(String), state String, city Nullable(String), created_at DateTime64(6, 'UTC'), updated_at DateTime64(6, 'UTC'), _elt_run UInt64, _elt_loaded_at DateTime64(6, 'UTC') DEFAULT now64(6)) ENGINE = MergeTree ORDER BY customer_id;
CREATE OR REPLACE TABLE raw.products (product_id Int64, product_name String, category String, price Decimal(12, 2), cost Decimal(12, 2), created_at DateTime64(6, 'UTC'), updated_at DateTime64(6, 'UTC'), _elt_run UInt64, _elt_loaded_at DateTime64(6, 'UTC') DEFAULT now64(6)) ENGINE = MergeTree ORDER BY product_id;
CREATE OR REPLACE TABLE raw.orders (order_id Int64, customer_id Int64, order_date DateTime64(6, 'UTC'), status String, total_amount Decimal(14, 2), updated_at DateTime64(6, 'UTC'), _elt_run UInt64, _elt_loaded_at DateTime64(6, 'UTC') DEFAULT now64(6)) ENGINE = MergeTree ORDER BY order_id;
CREATE OR REPLACE TABLE raw.order_items (order_item_id Int64, order_id Int64, product_id Int64, quantity Int32, unit_price Decimal(12, 2), subtotal Decimal(14, 2), updated_at DateTime64(6, 'UTC'), _elt_run UInt64, _elt_loaded_at DateTime64(6, 'UTC') DEFAULT now64(6)) ENGINE = MergeTree ORDER BY order_item_id;
INSERT INTO raw.customers (customer_id, first_name, last_name, email, phone, state, city, created_at, updated_at, _elt_run) VALUES
    (1, 'Ada', 'Berg', 'ada@example.com', '555-0101', 'Ohio', 'Dayton', '2025-01-01 10:00:00', '2025-01-01 10:00:00', 1),
    (2, 'Ben', 'Cole', 'ben@example.com', NULL, 'Ohio', NULL, '2025-01-02 10:00:00', '2025-01-02 10:00:00', 1),
    (3, 'Cy', 'Dunn', 'cy@example.com', NULL, 'Texas', 'Waco', '2025-01-03 10:00:00', '2025-01-03 10:00:00', 1),
    (4, 'Di', 'Ewing', 'di@example.com', '555-0104', 'Utah', 'Provo', '2025-01-04 10:00:00', '2025-01-04 10:00:00', 1);
INSERT INTO raw.products (product_id, product_name, category, price, cost, created_at, updated_at, _elt_run) VALUES
    (1, 'Lamp', 'Home', 19.99, 7.01, '2025-01-01 10:00:00', '2025-01-01 10:00:00', 1),
    (2, 'Gift card', 'Gifts', 0.00, 0.00, '2025-01-01 10:00:00', '2025-01-01 10:00:00', 1),
    (3, 'Chair', 'Home', 0.10, 0.30, '2025-01-01 10:00:00', '2025-01-01 10:00:00', 1);
INSERT INTO raw.orders (order_id, customer_id, order_date, status, total_amount, updated_at, _elt_run) VALUES
    (1, 1, '2025-03-31 22:30:00', 'delivered', 60.07, '2025-03-31 22:30:00', 1),
    (2, 2, '2025-12-31 23:30:00', 'cancelled', 19.99, '2025-12-31 23:30:00', 1),
    (3, 2, '2025-06-15 12:00:00', 'paid', 0.30, '2025-06-15 12:00:00', 1),
    (4, 3, '2025-07-01 00:00:00', 'returned', 39.98, '2025-07-01 00:00:00', 1);
INSERT INTO raw.order_items (order_item_id, order_id, product_id, quantity, unit_price, subtotal, updated_at, _elt_run) VALUES
    (1, 1, 1, 3, 19.99, 59.97, '2025-03-31 22:30:00', 1),
    (2, 1, 3, 1, 0.10, 0.10, '2025-03-31 22:30:00', 1),
    (3, 2, 1, 1, 19.99, 19.99, '2025-12-31 23:30:00', 1),
    (4, 3, 3, 3, 0.10, 0.30, '2025-06-15 12:00:00', 1),
    (5, 4, 1, 2, 19.99, 39.98, '2025-07-01 00:00:00', 1),
    (6, 3, 2, 1, 0.00, 0.00, '2025-06-15 12:00:00', 1);
