-- Who is served by a release, and who sits in a cell, without reading every row of the vendor.
create index instance_status_release on instance_status (vendor_id, committed_release);
create index seat_cell on seat (vendor_id, cell_id) where gone_at is null;
