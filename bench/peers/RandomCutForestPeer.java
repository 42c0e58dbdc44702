// AWS Random Cut Forest as a peer of the accuracy bench: one thresholded forest per series, the settings its own
// documentation starts from (50 trees, 256 samples a tree, shingles of 8), one row after the other. Reads the folder
// that peers.ts wrote and answers one file per series. The score is the forest's own, the alarm its anomaly grade.
//
//   N.in    little-endian float64 pairs: seconds, value
//   N.out   little-endian float64 pairs: score, alarm
//
// Prints the nanoseconds of CPU time spent in the forests and the rows seen.

import com.amazon.randomcutforest.config.ForestMode;
import com.amazon.randomcutforest.config.Precision;
import com.amazon.randomcutforest.config.TransformMethod;
import com.amazon.randomcutforest.parkservices.AnomalyDescriptor;
import com.amazon.randomcutforest.parkservices.ThresholdedRandomCutForest;
import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.lang.management.ThreadMXBean;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;

public final class RandomCutForestPeer {
    private static final int SHINGLE = 8;
    private static final int TREES = 50;
    private static final int SAMPLES = 256;
    private static final int PAIR_BYTES = 16;

    private static final ThreadMXBean CLOCK = ManagementFactory.getThreadMXBean();

    private static long spentNanos = 0;
    private static long rows = 0;

    public static void main(String[] args) throws IOException {
        Path folder = Path.of(args[0]);
        int seriesCount = Integer.parseInt(args[1]);
        long seed = Long.parseLong(args[2]);
        for (int series = 0; series < seriesCount; series++) {
            ByteBuffer in = ByteBuffer.wrap(Files.readAllBytes(folder.resolve(series + ".in")));
            Files.write(folder.resolve(series + ".out"), score(in.order(ByteOrder.LITTLE_ENDIAN), seed));
        }
        System.out.println("{\"nanos\":" + spentNanos + ",\"rows\":" + rows + "}");
    }

    private static byte[] score(ByteBuffer in, long seed) {
        ThresholdedRandomCutForest forest = ThresholdedRandomCutForest.builder()
                .dimensions(SHINGLE)
                .shingleSize(SHINGLE)
                .numberOfTrees(TREES)
                .sampleSize(SAMPLES)
                .randomSeed(seed)
                .precision(Precision.FLOAT_32)
                .forestMode(ForestMode.STANDARD)
                .transformMethod(TransformMethod.NONE)
                .build();
        ByteBuffer out = ByteBuffer.allocate(in.capacity()).order(ByteOrder.LITTLE_ENDIAN);
        int count = in.capacity() / PAIR_BYTES;
        long start = CLOCK.getCurrentThreadCpuTime();
        for (int row = 0; row < count; row++) {
            long seconds = (long) in.getDouble();
            AnomalyDescriptor answer = forest.process(new double[] {in.getDouble()}, seconds);
            out.putDouble(answer.getRCFScore());
            out.putDouble(answer.getAnomalyGrade());
        }
        spentNanos += CLOCK.getCurrentThreadCpuTime() - start;
        rows += count;
        return out.array();
    }
}
