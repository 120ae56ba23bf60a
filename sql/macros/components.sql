-- Where component number `component` (from 0, order height, width, channel) stands in the image.
create or replace macro component_channel(component, channels) as component % channels;
create or replace macro component_x(component, width, channels) as (component // channels) % width;
create or replace macro component_y(component, width, channels) as component // (width * channels);
