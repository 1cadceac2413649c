/* event_log: metrics in event files, which TensorBoard reads.
 *
 * An event file is a sequence of records (TFRecord), all numbers little-endian:
 *
 *   8 bytes  length N of the data
 *   4 bytes  masked CRC-32C of these 8 bytes
 *   N bytes  data: a message Event of protocol buffers
 *   4 bytes  masked CRC-32C of the data
 *
 * A CRC c is masked as ((c >> 15) | (c << 17)) + 0xa282ead8. Source: TensorFlow,
 * core/lib/io/record_writer.cc and core/lib/hash/crc32c.h; TensorBoard, compat/proto/event.proto and
 * summary.proto.
 *
 * Each log is a new file, named events.out.tfevents.SECONDS.HOST.PID.0, and no file is ever appended
 * to: one that a killed run left may end in half a record. TensorBoard reads the files of a folder
 * in the order of their names, so SECONDS, the time, is raised to one more than the latest file's if
 * need be. The first event has file_version = brain.Event:2, and the second, with the step of the
 * first frame, session_log = START. At a START, TensorBoard drops the points that it has read so far
 * whose step is not smaller; so a run that is resumed, and computes some steps again, is one curve.
 * (TensorBoard's Python reader takes the first START of a folder for the run's beginning and drops
 * points from the second on, so every file has one; its Rust reader also drops, for each metric,
 * what a smaller step makes out of date.) */
#ifndef EVENT_LOG_H
#define EVENT_LOG_H

#include "frame/frame.h"

/* An event file that is being written. */
struct event_log;

/* Creates a new event file in `folder`, for frames from the step of `first` on. Creates the folder,
 * and those above it, if they do not exist. Returns NULL with a message. */
struct event_log *event_log_open(const char *folder, const struct frame *first);

/* Appends an event with the frame's step, the time, and a scalar for each of its metrics that is a
 * number (metrics_next(); not step), as float32 under the metric's name; and flushes it. Returns -1
 * with a message. */
int event_log_write(struct event_log *log, const struct frame *f);

/* Closes the file and frees the log, which may be NULL. Returns -1 with a message if events may be
 * lost and no earlier call has reported it. */
int event_log_close(struct event_log *log);

#endif
