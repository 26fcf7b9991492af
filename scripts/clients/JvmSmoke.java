import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import org.apache.tvm.Device;
import org.apache.tvm.Function;
import org.apache.tvm.Module;
import org.apache.tvm.NDArray;
import org.apache.tvm.TVMType;
import org.apache.tvm.TVMValue;
import org.apache.tvm.contrib.GraphExecutor;
import org.apache.tvm.contrib.GraphModule;

/**
 * Uses a runtime library through TVM's binding for Java: arrays, compiled functions, callbacks, a model, errors.
 *
 * <p>The argument is the folder gotvm/testdata; scripts/test-clients runs this, on TVM's own library too.
 */
public final class JvmSmoke {
    private static final int ITEMS = 16; // of call_parallel, see scripts/testdata_libs.py
    private static Path data;

    private JvmSmoke() {}

    /** Ends the program without waiting for the library's threads, which callbacks have made Java threads. */
    public static void main(String[] args) {
        data = Path.of(args[0]);
        try {
            arrays();
            compiledFunction();
            callbacks();
            model();
            errors();
            garbage();
        } catch (Throwable problem) {
            problem.printStackTrace();
            System.exit(1);
        }
        System.out.println("JvmSmoke: ok");
        System.exit(0);
    }

    private static void check(boolean holds, String what) {
        if (!holds) {
            throw new AssertionError(what);
        }
    }

    /** Fails unless the call throws an exception whose message has text in it. */
    private static void refused(String text, Runnable call) {
        try {
            call.run();
        } catch (RuntimeException refusal) {
            check(String.valueOf(refusal.getMessage()).contains(text), "\"" + refusal.getMessage() + "\", want " + text);
            return;
        }
        throw new AssertionError("no exception, want one with " + text);
    }

    private static NDArray floats(float... numbers) {
        NDArray array = NDArray.empty(new long[] {numbers.length});
        array.copyFrom(numbers);
        return array;
    }

    private static Module library(String name) {
        return Module.load(data.resolve("lib").resolve(name).toString());
    }

    private static void arrays() {
        double[] numbers = new double[24];
        for (int i = 0; i < numbers.length; i++) {
            numbers[i] = Math.sqrt(i);
        }
        NDArray array = NDArray.empty(new long[] {2, 3, 4}, new TVMType("float64"));
        array.copyFrom(numbers);
        NDArray copy = NDArray.empty(new long[] {2, 3, 4}, new TVMType("float64"));
        array.copyTo(copy);
        array.release();
        check(Arrays.equals(copy.asDoubleArray(), numbers), "a copy differs");
        check(Arrays.equals(copy.shape(), new long[] {2, 3, 4}), "shape");
        copy.release();
    }

    private static void compiledFunction() {
        Module library = library("myadd.so");
        check(library.typeKey().equals("library"), "type key " + library.typeKey());
        Function add = library.getFunction("myadd");
        library.release(); // the function keeps it
        NDArray a = floats(1, 2, 3);
        NDArray b = floats(10, 20, 30.5f);
        NDArray sum = floats(0, 0, 0);
        add.pushArg(a).pushArg(b).pushArg(sum).invoke();
        check(Arrays.equals(sum.asFloatArray(), new float[] {11, 22, 33.5f}), "sum");
        refused("num_args should be 3", () -> add.pushArg(a).invoke());
        add.call(a, sum, sum); // works after an error
        check(Arrays.equals(sum.asFloatArray(), new float[] {12, 24, 36.5f}), "second sum");
        add.release();

        library("target_c.so").getFunction("vadd").call(a, b, sum); // imports the runtime's functions by name
        check(Arrays.equals(sum.asFloatArray(), new float[] {11, 22, 33.5f}), "sum of target_c.so");
        for (NDArray array : new NDArray[] {a, b, sum}) {
            array.release();
        }
    }

    private static void callbacks() {
        Function.register("test.ints", arguments -> {
            check(arguments.length == 3 && arguments[2].asString().equals("text"), "arguments of test.ints");
            return arguments[0].asLong() + (long) (4 * arguments[1].asDouble());
        });
        float[] seen = new float[4];
        Function.register("test.tensor", arguments -> {
            NDArray copy = NDArray.empty(new long[] {4});
            arguments[0].asNDArray().copyTo(copy);
            System.arraycopy(copy.asFloatArray(), 0, seen, 0, 4);
            copy.release();
            return 0;
        });
        Set<Long> items = ConcurrentHashMap.newKeySet();
        Function.register("test.item", arguments -> {
            items.add(arguments[0].asLong()); // on the library's threads
            return 0;
        });

        Module library = library("callpacked.so");
        NDArray out = NDArray.empty(new long[] {1}, new TVMType("int64"));
        library.getFunction("call_ints").call(out);
        check(out.asLongArray()[0] == 11, "call_ints gives " + out.asLongArray()[0]);
        NDArray numbers = floats(1, 2, 3, 4);
        library.getFunction("call_tensor").call(numbers);
        check(Arrays.equals(seen, new float[] {1, 2, 3, 4}), "call_tensor passes " + Arrays.toString(seen));
        library.getFunction("call_parallel").call(numbers);
        check(items.size() == ITEMS, items.size() + " items");

        // A function that makes functions; an array, a string and bytes that go through.
        Function adder = Function.convertFunc(x -> Function.convertFunc(y -> x[0].asLong() + y[0].asLong()));
        check(adder.call(40).asFunction().call(2).asLong() == 42, "adder");
        Function same = Function.convertFunc(arguments -> arguments[0]);
        check(same.call("€uro").asString().equals("€uro"), "string");
        check(Arrays.equals(same.call(new byte[] {0, -1, 0}).asBytes(), new byte[] {0, -1, 0}), "bytes");
        check(same.call(Math.PI).asDouble() == Math.PI, "double");
        NDArray copy = NDArray.empty(new long[] {4});
        same.call(numbers).asNDArray().copyTo(copy);
        check(Arrays.equals(copy.asFloatArray(), new float[] {1, 2, 3, 4}), "array");
    }

    /** The test model `dense`: its reference file ends with the input and the output of the compiler's runtime. */
    private static void model() throws IOException {
        Path folder = data.resolve("models/tvm0.19/dense");
        ByteBuffer reference = ByteBuffer.wrap(Files.readAllBytes(folder.resolve("reference.params")));
        reference.order(ByteOrder.LITTLE_ENDIAN);
        float[] input = new float[4 * 32];
        float[] want = new float[4 * 10];
        int start = reference.capacity() - 4 * want.length;
        reference.position(start).slice().order(ByteOrder.LITTLE_ENDIAN).asFloatBuffer().get(want);
        start -= 56 + 4 * input.length; // the header of the output
        reference.position(start).slice().order(ByteOrder.LITTLE_ENDIAN).asFloatBuffer().get(input);

        Module library = Module.load(folder.resolve("deploy.so").toString());
        String json = new String(Files.readAllBytes(folder.resolve("deploy.json")), StandardCharsets.UTF_8);
        GraphModule graph = GraphExecutor.create(json, library, Device.cpu());
        graph.loadParams(Files.readAllBytes(folder.resolve("deploy.params")));
        NDArray data = NDArray.empty(new long[] {4, 32});
        data.copyFrom(input);
        NDArray output = NDArray.empty(new long[] {4, 10});
        graph.setInput("data", data).run().getOutput(0, output);
        float[] got = output.asFloatArray();
        for (int i = 0; i < want.length; i++) {
            check(Math.abs(got[i] - want[i]) <= 1e-5 * (1 + Math.abs(want[i])), "output " + i + " is " + got[i]);
        }
        NDArray back = NDArray.empty(new long[] {4, 32});
        graph.getFunction("get_input").call("data").asNDArray().copyTo(back);
        check(Arrays.equals(back.asFloatArray(), input), "the input read back differs");
        graph.release();
        library.release();
    }

    private static void errors() {
        refused("missing.so", () -> library("missing.so"));
        refused("none", () -> library("myadd.so").getFunction("none"));
        refused("test.ints", () -> Function.register("test.ints", arguments -> 0));
        refused("", () -> NDArray.empty(new long[] {1}, new Device(Device.vpi().deviceType, 0)));
        NDArray two = floats(1, 2);
        refused("", () -> two.copyTo(floats(1, 2, 3)));
        check(Function.getFunction("test.none") == null, "a function that nobody registered");
        check(Module.enabled("cpu") && !Module.enabled("cuda"), "what is enabled");
    }

    /** Arrays and functions that the collector frees, on a thread of its own. */
    private static void garbage() {
        for (int i = 0; i < 3000; i++) {
            NDArray array = floats(i, i + 1);
            Function function = Function.convertFunc(arguments -> arguments[0]);
            TVMValue result = function.call(array);
            if (i % 1000 == 999) {
                check(Arrays.equals(array.asFloatArray(), new float[] {i, i + 1}), "array " + i);
                check(result.asNDArray() != null, "result " + i);
                System.gc();
                System.runFinalization();
            }
        }
    }
}
