//! Property tests of the codec, in the order of its modules. The properties that must hold for any
//! bytes live in `levada_resp::property`, where the fuzz targets find them too.

mod decode;
mod reply;
